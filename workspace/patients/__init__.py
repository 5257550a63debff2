"""What is done with patients' records: register, find duplicates, merge, export, keep, erase."""

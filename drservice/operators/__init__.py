"""Pages for the people who run the service: hospitals, models, health, and who the operators are.

They see no patient. `figures` alone touches hospitals' records, and returns numbers and dates.
"""

"""The grading engine: photograph bytes in, a `Grading` out.

Importing this package is free of torch; `inference.engine.grader` is what a worker imports.
"""

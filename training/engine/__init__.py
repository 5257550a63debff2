"""The training engine: real eyes in, an artefact out. Knows neither Django nor Celery."""

"""Everything that speaks SQL; knows neither Redis nor Celery."""

# Two images from one file: `web` (also beat and every command; no torch) and `worker`.
#   docker build --target web -t drservice-web .
#   docker build --target worker -t drservice-worker .
FROM python:3.11-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    DJANGO_SETTINGS_MODULE=drservice.settings.prod \
    VAR_DIR=/srv/drservice/var
RUN useradd --system --home-dir /srv/drservice --shell /usr/sbin/nologin drservice \
    && install -d -o drservice -g drservice /srv/drservice /srv/drservice/var
WORKDIR /srv/drservice

FROM base AS web
COPY requirements/web.txt requirements/
RUN pip install --require-hashes -r requirements/web.txt
COPY --chown=drservice:drservice . .
USER drservice
EXPOSE 8000
# Behind a proxy that speaks HTTPS and sets X-Forwarded-For and X-Forwarded-Proto. No list of
# requests: it would say, outside of the audit trail, who looked at whose record.
CMD ["sh", "-c", "python manage.py migrate --noinput && python manage.py collectstatic --noinput && exec uvicorn drservice.asgi:application --host 0.0.0.0 --port 8000 --no-proxy-headers --no-server-header --no-access-log --timeout-graceful-shutdown 20"]

FROM base AS worker
COPY requirements/training.txt requirements/
RUN pip install --require-hashes -r requirements/training.txt
COPY --chown=drservice:drservice . .
USER drservice
CMD ["celery", "-A", "drservice", "worker", "-Q", "inference", "--pool=threads", "--concurrency=4", "--loglevel=INFO"]

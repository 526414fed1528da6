"""`python -m include.ratchet.serving`: run the prediction service until it is asked to stop."""

from __future__ import annotations

import logging
import os

import uvicorn

from include.ratchet.data.connections import find_settings
from include.ratchet.serving.alarms import report_moved, report_refused
from include.ratchet.serving.app import create_app
from include.ratchet.serving.config import read_config
from include.ratchet.serving.gate import Gate
from include.ratchet.serving.keys import Keyring
from include.ratchet.serving.service import Service


def main() -> None:
    """Serve, as the environment says."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings, config = find_settings(os.environ), read_config(os.environ)
    secret = os.environ.get("RATCHET_MASK_SECRET", "")
    service = Service(settings, config, secret, report_refused(settings, os.environ))
    app = create_app(service, Gate(config, Keyring(settings)), report_moved(settings, os.environ))
    uvicorn.run(app, host=config.host, port=config.port, access_log=False, log_level="warning", backlog=4096,
                timeout_graceful_shutdown=10)  # fmt: skip


if __name__ == "__main__":
    main()

"""`python -m include.ratchet.registry.migrate`: bring the database's schema up to date."""

import os

from include.ratchet.registry.database import upgrade
from include.ratchet.settings import read_settings

if __name__ == "__main__":
    upgrade(read_settings(os.environ).database_url)

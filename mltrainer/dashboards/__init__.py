"""Dashboards: the pages stakeholders open. Each notebook in notebooks/dashboards shows one of them.

They only read what is stored. Whatever comes from a name, an address or an error is escaped before it is shown, and a
callback that breaks shows an incident number, never a traceback: the rest is in `logs/incidents.log`.
"""

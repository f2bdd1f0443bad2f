"""Runs cells as pytest items: collects them, brings a stage up, judges, retries what was the lab's fault, records."""

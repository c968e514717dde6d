"""Settings of a lab server, complete and as a file that only its owner may read."""

from __future__ import annotations

from pathlib import Path

SECRET = "0123456789abcdef0123456789abcdef"
AUTH = f"""
[auth]
redirect_uri = "https://mammo.lab.example/oauth2callback"
cookie_secret = "{SECRET}"
client_id = "mammotrace"
client_secret = "s"
server_metadata_url = "https://login.lab.example/.well-known/openid-configuration"
"""
LAB = """
[lab_server]
hosts = ["mammo.lab.example"]
allowed_emails = ["Anna@Lab.example"]
allowed_domains = ["clinic.example"]
"""


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "lab_server.toml"
    path.write_text(text)
    path.chmod(mode)
    return path

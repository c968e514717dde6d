"""``python -m mammo_core``."""

try:
    from mammo_core.cli import main
except ModuleNotFoundError as missing:  # nothing of the app can say so any more
    if (missing.name or "").startswith("mammo_core"):
        raise
    raise SystemExit(
        f"Error: the module '{missing.name}' is not installed, which the app needs. Run 'pip install -r requirements.txt' in the "
        "app's environment."
    ) from missing

if __name__ == "__main__":
    main()

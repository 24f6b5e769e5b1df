"""The ``ibal`` command. Each ``cli/<name>.py`` has ``main(argv) -> int``; ``main.py`` has the table of them."""

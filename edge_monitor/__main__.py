"""`python -m edge_monitor` is the `edge-monitor` command."""

from edge_monitor.cli.main import main

if __name__ == "__main__":
    main()

"""The network: settings, kernel functions and layers, and the exact kernel."""

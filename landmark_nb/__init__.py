__version__ = "0.1.0"

try:
    import fcntl as _locks  # Windows has none
except ImportError:
    raise ImportError(
        "landmark_nb runs on Linux and macOS: it locks and reads files in ways that Windows has not (fcntl,"
        " os.pread). On Windows use WSL 2, a Linux inside of it: wsl --install, and install landmark_nb there"
    ) from None

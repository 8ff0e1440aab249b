"""The mounts of a process, as /proc/<pid>/mountinfo lists them (proc_pid_mountinfo(5))."""


def covering_mount(mountinfo: str, path: str) -> str:
    """Return the type of the file system that contains a path; empty if no line covers it."""
    found, longest = "", 0
    for line in mountinfo.splitlines():
        fields, separator, rest = line.partition(" - ")
        words = fields.split()
        if not separator or len(words) < 5 or not rest.split():
            continue
        point = _unescape_path(words[4]).rstrip("/") + "/"
        # A later line is mounted over an earlier one of the same path.
        if f"{path}/".startswith(point) and len(point) >= longest:
            found, longest = rest.split()[0], len(point)
    return found


def _unescape_path(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text

"""The base of our errors.

    RblnError
    ├─ AccessError             the credentials for the API server can't be used
    ├─ ApiError                a call of the API server failed
    ├─ BindError               a socket of the run directory can't be bound
    ├─ BudgetError             a preferred allocation took too many steps
    ├─ CheckpointError         a checkpoint of claims can't be read
    ├─ ClaimError              a claim can't be prepared or unprepared
    ├─ ClaimFilesError         a file of claims can't be read or written
    ├─ CommandError            a command of rbln-ctl ends with lines
    │  ├─ RefusedError            the supervisor refused the request
    │  ├─ UnreachableError        no supervisor replies
    │  └─ UnreadableAnswerError   a reply of another version
    ├─ ConfigError             a configuration can't be used
    ├─ DocumentError           a file is neither JSON nor YAML
    ├─ EndpointError           a pool's socket can't be served
    ├─ FrameError              a frame that is not a message
    ├─ KubectlError            kubectl failed, or printed no list of objects
    ├─ NetlinkDecodeError      bytes that are not netlink (also ValueError)
    ├─ NetlinkError            the kernel does not answer on netlink
    ├─ PrivilegeError          a process can't drop its privileges
    ├─ RegistrationError       the kubelet refuses a registration
    ├─ RsdError                an RSD group could not be made, removed or read
    ├─ RunDirError             the run directory can't be used
    ├─ SocketPathError         a path does not fit into a socket address
    └─ WatchError              the kubelet's Pods API ended a watch

What is not in the tree is an error of Python or a library, and is handled where it can arise.
"""


class RblnError(Exception):
    """Base of our errors."""

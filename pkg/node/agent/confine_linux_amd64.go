package agent

import "golang.org/x/sys/unix"

// neverHere are the older forms of the calls in never.
var neverHere = []uint32{
	unix.SYS_CREAT, unix.SYS_RENAME, unix.SYS_LINK, unix.SYS_SYMLINK, unix.SYS_UNLINK, unix.SYS_MKDIR, unix.SYS_RMDIR, unix.SYS_MKNOD,
	unix.SYS_CHMOD, unix.SYS_CHOWN, unix.SYS_LCHOWN, unix.SYS_UTIME, unix.SYS_UTIMES, unix.SYS_FUTIMESAT,
}

// openHere are the older forms of openat, and which argument has the flags.
var openHere = map[uint32]uint32{unix.SYS_OPEN: 1}

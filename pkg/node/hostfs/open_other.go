//go:build !linux

package hostfs

// pathOnly is for Linux.
const pathOnly = 0

// openInRoot is for Linux.
func (Root) openInRoot(string, int) (fd int, ok bool, err error) { return -1, false, nil }

// hasNoSymlink is for Linux.
func hasNoSymlink(string) bool { return false }

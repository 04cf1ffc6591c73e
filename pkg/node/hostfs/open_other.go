//go:build !linux

package hostfs

import "os"

// pathOnly is for Linux.
const pathOnly = 0

// openInRoot is for Linux.
func (Root) openInRoot(string, int) (f *os.File, ok bool, err error) { return nil, false, nil }

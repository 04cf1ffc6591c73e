package store

import (
	"golang.org/x/sys/unix"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

// ImmutableAt returns a file or directory of a store that cannot be replaced before its attribute
// is removed (chattr -i, chattr -a); empty: there is none, or it is not known.
func ImmutableAt(root hostfs.Root, s inventory.Store) string {
	files, _, err := storeFiles(root, s)
	if err != nil {
		return ""
	}
	for _, path := range append(files, DirectoriesOf(root, s)...) {
		local, err := root.LocalPath(path)
		if err != nil {
			continue
		}
		var stat unix.Statx_t
		err = unix.Statx(unix.AT_FDCWD, local, unix.AT_STATX_DONT_SYNC, 0, &stat)
		if err == nil && stat.Attributes&(unix.STATX_ATTR_IMMUTABLE|unix.STATX_ATTR_APPEND) != 0 {
			return root.HostPath(local)
		}
	}
	return ""
}

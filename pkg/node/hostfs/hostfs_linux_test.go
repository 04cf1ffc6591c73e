package hostfs

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestBothWaysOfOpeningAgree compares the kernel's resolution of symlinks with the one that is
// used where the kernel does not offer it.
func TestBothWaysOfOpeningAgree(t *testing.T) {
	top := t.TempDir()
	root := Root(filepath.Join(top, "host"))
	require.NoError(t, os.MkdirAll(filepath.Join(string(root), "etc/pki"), 0o750))
	write := func(path, content string) {
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}
	link := func(target, path string) { require.NoError(t, os.Symlink(target, filepath.Join(string(root), path))) }
	write(filepath.Join(string(root), "etc/pki/ca.crt"), "inside")
	write(filepath.Join(top, "secret"), "outside")
	link("/etc/pki", "pki")                                      // absolute, within the root
	link("../pki/ca.crt", "etc/relative")                        // relative
	link("../../../../secret", "etc/above")                      // ends at the root
	link(strings.Repeat("../", 9)+"etc/pki/ca.crt", "etc/again") // passes the root
	link("loop", "etc/loop")
	link("/nowhere", "etc/dangling")
	require.NoError(t, unix.Mkfifo(filepath.Join(string(root), "fifo"), 0o600))

	fd, offered, err := root.openInRoot("/etc", pathOnly)
	if !offered {
		t.Log("this kernel, or a seccomp filter, does not offer openat2: there is one way only")
		return
	}
	require.NoError(t, err)
	require.NoError(t, unix.Close(fd))
	for _, path := range []string{
		"/etc/pki/ca.crt", "etc/pki/ca.crt", "/pki/ca.crt", "/etc/relative", "/etc/above", "/etc/again", "/../etc/pki/ca.crt",
		"/etc/loop", "/etc/dangling", "/etc/missing", "/etc/missing/below", "/pki/missing", "/pki/../etc/pki/ca.crt", "", "/etc/pki/ca.crt/below", "/etc/pki", "/fifo", "/",
	} {
		t.Run(path, func(t *testing.T) {
			flags := os.O_RDONLY | unix.O_NONBLOCK
			byKernel, _, kernelErr := root.openInRoot(path, flags)
			bySteps, stepsErr := root.openByComponent(path, flags)
			assert.Equal(t, stepsErr == nil, kernelErr == nil, "%v, and by component: %v", kernelErr, stepsErr)
			local, localErr := root.LocalPath(path)
			localBySteps, localStepsErr := root.resolveByComponent(path)
			assert.Equal(t, localBySteps, local)
			assert.Equal(t, localStepsErr == nil, localErr == nil, "%v, and by component: %v", localErr, localStepsErr)
			for _, target := range []error{os.ErrNotExist, unix.ELOOP, unix.ENOTDIR} {
				assert.Equal(t, errors.Is(stepsErr, target), errors.Is(kernelErr, target), "%v, and by component: %v", kernelErr, stepsErr)
			}
			if kernelErr != nil || stepsErr != nil {
				return
			}
			same := func(fd int) string {
				f := os.NewFile(uintptr(fd), path)
				defer func() { assert.NoError(t, f.Close()) }()
				info, err := f.Stat()
				require.NoError(t, err)
				if !info.Mode().IsRegular() {
					return info.Mode().String()
				}
				content, err := io.ReadAll(f)
				require.NoError(t, err)
				return info.Mode().String() + string(content)
			}
			want := same(bySteps)
			assert.Equal(t, want, same(byKernel))
			assert.NotContains(t, want, "outside")
			info, err := root.Stat(path)
			require.NoError(t, err)
			assert.True(t, strings.HasPrefix(want, info.Mode().String()))
		})
	}
}

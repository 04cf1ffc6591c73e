package plugin

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/dashboard"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

// longestToken is more than a file with a token has.
const longestToken = 1024

// writeTokenFile writes a token to a file that only the operator can read. It replaces the file of
// an earlier dashboard, and no other. remove deletes the file unless another dashboard has replaced
// it.
func writeTokenFile(path, token string) (remove func(), err error) {
	before, err := readTokenFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("write the token of the API: %w", err)
	case !strings.HasPrefix(before, dashboard.TokenPrefix):
		return nil, hint.AddTo(fmt.Errorf("write the token of the API to %q: the file exists and holds no such token", path), "choose a file that does not exist")
	}
	// A file of its own is renamed, so that the mode is right from the beginning and a link is replaced.
	file, err := os.CreateTemp(filepath.Dir(path), ".rotate-certs-*") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("write the token of the API to %q: %w", path, err)
	}
	_, err = io.WriteString(file, token+"\n")
	err = errors.Join(err, file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		_ = os.Remove(file.Name()) // the first error says more
		return nil, fmt.Errorf("write the token of the API to %q: %w", path, err)
	}
	return func() {
		if now, err := readTokenFile(path); err == nil && now == token {
			_ = os.Remove(path) // the token is of no use anymore
		}
	}, nil
}

// readTokenFile reads what may be a token.
func readTokenFile(path string) (string, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", hint.AddTo(fmt.Errorf("%q is not a file", path), "choose a file that does not exist")
	}
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }() // nothing was written
	text, err := io.ReadAll(io.LimitReader(file, longestToken))
	return strings.TrimSpace(string(text)), err
}

package version

import (
	"strings"
	"testing"
)

func TestNodeCommandNamesTheArchiveOfThisRelease(t *testing.T) {
	was := Version
	t.Cleanup(func() { Version = was })
	Version = "v9.8.7"
	got := NodeCommand("rotate --all")
	for _, want := range []string{
		"rotate-certs-node rotate --all (",
		"https://github.com/rotate-certs/rotate-certs/releases/download/v9.8.7/rotate-certs-node_v9.8.7_linux_amd64.tar.gz",
		"arm64",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("NodeCommand = %q, want %q in it", got, want)
		}
	}
	if strings.Contains(got, "\n") {
		t.Errorf("NodeCommand = %q, want one line", got)
	}
}

package version

import (
	"regexp"
	"testing"
)

func TestVersionIsAReleaseAndAnImageTag(t *testing.T) {
	// Krew wants a leading v and three numbers; an image tag allows no plus sign.
	if !regexp.MustCompile(`^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`).MatchString(Version) {
		t.Errorf("Version = %q, want vX.Y.Z or vX.Y.Z-pre", Version)
	}
}

func TestImagesFollowTheVersion(t *testing.T) {
	set(t, &Version, "v9.8.7")
	if got, want := NodeImage(), "ghcr.io/rotate-certs/rotate-certs-node:v9.8.7"; got != want {
		t.Errorf("NodeImage() = %q, want %q", got, want)
	}
	if got, want := WatcherImage(), "ghcr.io/rotate-certs/rotate-certs-watcher:v9.8.7"; got != want {
		t.Errorf("WatcherImage() = %q, want %q", got, want)
	}
}

func TestString(t *testing.T) {
	for _, test := range []struct{ name, commit, want string }{
		{"released", "", "v9.8.7"},
		{"development build", "0123abc-dirty", "v9.8.7 (0123abc-dirty)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			set(t, &Version, "v9.8.7")
			set(t, &GitCommit, test.commit)
			if got := String(); got != test.want {
				t.Errorf("String() = %q, want %q", got, test.want)
			}
		})
	}
}

// set gives a variable another value until the test ends.
func set(t *testing.T, variable *string, value string) {
	t.Helper()
	old := *variable
	t.Cleanup(func() { *variable = old })
	*variable = value
}

package parts

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/test/lab/internal/hint"
)

func TestKubernetesVersionIsThatOfTheMinorVersionAskedFor(t *testing.T) {
	dir := t.TempDir()
	for name, version := range map[string]string{"build/kubernetes/go.mod": "v1.37.2", "build/versions/1.36.mod": "v1.36.3"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("require k8s.io/kubernetes "+version+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for asked, want := range map[string]string{"": "v1.37.2", "1.37": "v1.37.2", "1.36": "v1.36.3"} {
		got, err := Cache{Source: dir, Kubernetes: asked}.KubernetesVersion()
		if err != nil || got != want {
			t.Errorf("%q: got %q, %v; want %q", asked, got, err, want)
		}
	}
	_, err := Cache{Source: dir, Kubernetes: "1.3"}.KubernetesVersion()
	if err == nil || !strings.Contains(hint.TextOf(err), "there are v1.37.2, 1.36") {
		t.Errorf("got %v, want an error that lists the versions", err)
	}
}

// TestVersionsAreWhatTheirFilesAreCalled reads the modules that are built.
func TestVersionsAreWhatTheirFilesAreCalled(t *testing.T) {
	files, err := filepath.Glob("../../build/versions/*.mod")
	if err != nil || len(files) == 0 {
		t.Fatalf("no modules: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		minor := strings.TrimSuffix(filepath.Base(file), ".mod")
		got, err := requiredKubernetes(string(data))
		if err != nil || !strings.HasPrefix(got, "v"+minor+".") {
			t.Errorf("%s has %q, %v", file, got, err)
		}
		if count := strings.Count(string(data), " => "); count < 25 || strings.Count(string(data), " v0."+strings.TrimPrefix(strings.TrimPrefix(got, "v1"), ".")) < count {
			t.Errorf("%s: its %d replaces are not all of that version", file, count)
		}
	}
}

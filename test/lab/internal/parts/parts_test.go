package parts

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestRequiredKubernetes(t *testing.T) {
	tests := map[string]struct{ mod, want string }{
		"single":    {"module m\n\nrequire k8s.io/kubernetes v1.37.2\n", "v1.37.2"},
		"in a list": {"require (\n\tk8s.io/kubernetes v1.38.0 // comment\n\tk8s.io/api v0.1.0\n)", "v1.38.0"},
		"absent":    {"require k8s.io/kubernetes-other v1.0.0\n", ""},
		"replaced":  {"replace k8s.io/kubernetes => k8s.io/kubernetes v1.1.1\n", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := requiredKubernetes(test.mod)
			if got != test.want || (err == nil) != (test.want != "") {
				t.Errorf("got %q, %v; want %q", got, err, test.want)
			}
		})
	}
}

func TestMirrorIn(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"one line":   {"# x\ndeb [signed-by=/k] http://mirror.example/debian bookworm main\n", "http://mirror.example/debian"},
		"deb822":     {"Types: deb\nURIs: https://mirror.example/debian/\nSuites: bookworm\n", "https://mirror.example/debian/"},
		"others":     {"deb http://mirror.example/debian-security bookworm main\ndeb https://vendor.example/apt x main\n", ""},
		"commented":  {"# URIs: http://mirror.example/debian\n", ""},
		"no archive": {"", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := mirrorIn(test.text); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestFollowStaysInTheTree(t *testing.T) {
	tree := t.TempDir()
	write(t, tree, "usr/lib/real", "x")
	link(t, tree, "lib", "usr/lib")
	link(t, tree, "etc/absolute", "/lib/real")
	link(t, tree, "usr/lib/relative", "../lib/./real")
	link(t, tree, "escape", "../../../lib/real")
	for _, name := range []string{"usr/lib/real", "lib/real", "etc/absolute", "usr/lib/relative", "escape"} {
		if got, want := follow(tree, name), filepath.Join(tree, "usr/lib/real"); got != want {
			t.Errorf("follow(%q) = %q, want %q", name, got, want)
		}
	}
	link(t, tree, "loop", "loop")
	_ = follow(tree, "loop") // it ends
}

func TestPartAppearsOnlyWhenComplete(t *testing.T) {
	c := Cache{Dir: t.TempDir(), Log: io.Discard}
	if _, err := c.part("p", "key", func(dir string) error {
		write(t, dir, "half", "x")
		return errors.New("no more disk")
	}); err == nil {
		t.Fatal("no error")
	}
	made := 0
	for range 2 {
		dir, err := c.part("p", "key", func(dir string) error {
			made++
			write(t, dir, "whole", "x")
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(dir, "half")); err == nil {
			t.Error("the part has what a failed run left")
		}
	}
	if made != 1 {
		t.Errorf("made %d times, want once", made)
	}
}

func TestKeyDependsOnEveryInput(t *testing.T) {
	keys := []string{keyOf("a", "b"), keyOf("ab"), keyOf("a", "c"), keyOf("a", "b", "")}
	slices.Sort(keys)
	if len(slices.Compact(keys)) != 4 {
		t.Errorf("equal keys among %v", keys)
	}
}

func TestArchiveHasEveryImageAndSharesLayers(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "program", "content")
	shared, err := writeLayer(filepath.Join(dir, "l"), []treeFile{
		{path: "usr/bin/program", source: filepath.Join(dir, "program")},
		{path: "usr/bin/other", hardLink: "usr/bin/program"},
	})
	if err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(dir, "images.tar")
	if err := writeArchive(archive, []image{
		{name: "example.test/a:1", layers: []layer{shared}, entrypoint: []string{"/usr/bin/program"}},
		{name: "example.test/b:1", layers: []layer{shared}, entrypoint: []string{"/usr/bin/other"}},
	}); err != nil {
		t.Fatal(err)
	}
	contents := read(t, archive)
	var manifest []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := json.Unmarshal(contents["manifest.json"], &manifest); err != nil {
		t.Fatal(err)
	}
	if len(contents) != 4 || len(manifest) != 2 || manifest[0].Layers[0] != manifest[1].Layers[0] {
		t.Fatalf("%d files, manifest %+v; want manifest, two configs and one layer", len(contents), manifest)
	}
	for _, item := range manifest {
		var config struct{ Architecture, OS string }
		if err := json.Unmarshal(contents[item.Config], &config); err != nil || config.Architecture == "" || config.OS != "linux" {
			t.Errorf("config of %v: %+v, %v", item.RepoTags, config, err)
		}
	}
}

func write(t *testing.T, dir, name, data string) {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, dir, name, target string) {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, file); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, file string) map[string][]byte {
	t.Helper()
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	contents := map[string][]byte{}
	for archive := tar.NewReader(in); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return contents
		}
		if err != nil {
			t.Fatal(err)
		}
		if contents[header.Name], err = io.ReadAll(archive); err != nil {
			t.Fatal(err)
		}
	}
}

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestNoticesNameWhatIsLinkedAndNothingElse(t *testing.T) {
	t.Parallel()
	text, err := checkout(t).noticesOf(t.Context(), platform{"linux", "amd64"}, "rotate-certs-node")
	if err != nil {
		t.Fatal(err)
	}
	for _, linked := range []string{"Go standard library go1.", "\nk8s.io/api v", "\ngo.etcd.io/etcd/client/v3 v", "Apache License", "Redistribution and use in source and binary forms"} {
		if !strings.Contains(text, linked) {
			t.Errorf("the notices lack %q", linked)
		}
	}
	for _, other := range []string{"\ngithub.com/stretchr/testify ", "\ngithub.com/nats-io/nats-server", "\n" + productModule} {
		if strings.Contains(text, other) {
			t.Errorf("the notices name %q, which is not linked", other)
		}
	}
}

func TestEveryModuleOnEveryPlatformHasALicence(t *testing.T) {
	t.Parallel()
	for _, target := range pluginPlatforms {
		if _, err := checkout(t).noticesOf(t.Context(), target, pluginProgram, completionProgram); err != nil {
			t.Errorf("%s: %v", target, err)
		}
	}
	for _, target := range nodePlatforms {
		if _, err := checkout(t).noticesOf(t.Context(), target, "rotate-certs-watcher"); err != nil {
			t.Errorf("%s: %v", target, err)
		}
	}
}

func TestNoticesHoldTheLicencesOfSubdirectories(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"LICENSE", "NOTICE.txt", "license.go", "README.md", "fork/COPYING", "fork/deep/x.go", "other/LICENSE"} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m := &linkedModule{name: "example.org/m v1.0.0", root: root}
	for range 2 {
		if err := m.addFiles(filepath.Join(root, "fork", "deep")); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"LICENSE", "NOTICE.txt", "fork/COPYING"}; !slices.Equal(m.files, want) {
		t.Errorf("files = %q, want %q", m.files, want)
	}
}

func TestANoticeAloneIsNoLicence(t *testing.T) {
	for file, want := range map[string]bool{"LICENSE": true, "Licence.md": true, "a/COPYING": true, "NOTICE": false, "AUTHORS": false, "PATENTS": false} {
		if got := isLicence(file); got != want {
			t.Errorf("isLicence(%q) = %v, want %v", file, got, want)
		}
	}
}

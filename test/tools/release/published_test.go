package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// These tests make what is published from the real sources, and verify it as
// a user does who downloads it.

const testVersion = "v9.8.7"

// checkout is this source tree, built as a version that was never released.
func checkout(t *testing.T) source {
	t.Helper()
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	return source{root: root, version: testVersion}
}

func TestPublishedImages(t *testing.T) {
	t.Parallel()
	tree := checkout(t)
	for _, program := range []string{"rotate-certs-node", "rotate-certs-watcher"} {
		t.Run(program, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "image.tar")
			if err := writeImage(t.Context(), tree, path, []string{program}); err != nil {
				t.Fatal(err)
			}
			files := readTar(t, readFile(t, path))
			if want := `"ghcr.io/rotate-certs/` + program + ":" + testVersion + `"`; !bytes.Contains(files["index.json"], []byte(want)) {
				t.Errorf("index.json does not name the image %s:\n%s", want, files["index.json"])
			}
			machines := map[elf.Machine]int{}
			for _, content := range files {
				if found := programInLayer(t, content, program); found != nil {
					machines[found.Machine]++
				}
			}
			if machines[elf.EM_X86_64] != 1 || machines[elf.EM_AARCH64] != 1 || len(machines) != 2 {
				t.Errorf("programs per machine = %v, want one for x86-64 and one for arm64", machines)
			}
		})
	}
}

// programInLayer is the program of a layer, or nil for another blob. It must be static: the
// image has no libraries.
func programInLayer(t *testing.T, blob []byte, name string) *elf.File {
	t.Helper()
	layer, err := gzip.NewReader(bytes.NewReader(blob))
	if err != nil {
		return nil
	}
	content, err := io.ReadAll(layer)
	if err != nil {
		t.Fatal(err)
	}
	program, err := elf.NewFile(bytes.NewReader(readTar(t, content)["usr/local/bin/"+name]))
	if err != nil {
		t.Fatalf("read %s: %v", name, err)
	}
	libraries, err := program.ImportedLibraries()
	if err != nil || len(libraries) > 0 {
		t.Errorf("%s for %s needs libraries %q (%v)", name, program.Machine, libraries, err)
	}
	return program
}

func TestPublishedArchives(t *testing.T) {
	t.Parallel()
	tree, directory := checkout(t), t.TempDir()
	manifest := filepath.Join(directory, "rotate-certs.yaml") // krew wants the plugin's name
	if err := writeDistribution(t.Context(), tree, directory, manifest); err != nil {
		t.Fatal(err)
	}
	text := string(readFile(t, manifest))
	krew := krewTools(t)

	for _, target := range pluginPlatforms {
		t.Run(target.String(), func(t *testing.T) {
			t.Parallel()
			archive := filepath.Join(directory, archiveName(pluginBundle, target))
			checkContent(t, pluginBundle, target, archive)
			if sum := sha256Of(readFile(t, archive)); !strings.Contains(text, sum) {
				t.Errorf("manifest lacks the sum %s of %s", sum, archive)
			}
			krewInstall(t, krew, manifest, archive, target)
		})
	}
	sums := string(readFile(t, filepath.Join(directory, "SHA256SUMS")))
	for _, target := range nodePlatforms {
		t.Run("node program for "+target.String(), func(t *testing.T) {
			name := archiveName(nodeBundle, target)
			archive := filepath.Join(directory, name)
			checkContent(t, nodeBundle, target, archive)
			if line := sha256Of(readFile(t, archive)) + "  " + name + "\n"; !strings.Contains(sums, line) {
				t.Errorf("SHA256SUMS lacks the line %q:\n%s", line, sums)
			}
		})
	}
	if strings.Contains(text, nodeProgram) {
		t.Errorf("the manifest names the node program, which is no plugin:\n%s", text)
	}
	t.Run("installed plugin runs", func(t *testing.T) {
		host := platform{runtime.GOOS, runtime.GOARCH}
		if !slices.Contains(pluginPlatforms, host) {
			t.Fatalf("the plugin is not published for %s", host)
		}
		root := krewInstall(t, krew, manifest, filepath.Join(directory, archiveName(pluginBundle, host)), host)
		out, err := exec.Command(filepath.Join(root, "bin", host.executable(pluginProgram)), "version").CombinedOutput()
		if err != nil || !strings.Contains(string(out), testVersion) {
			t.Errorf("version printed %q (%v), want %s in it", out, err, testVersion)
		}
	})
	t.Run("manifest is valid", func(t *testing.T) { validateManifest(t, krew, manifest) })
	t.Run("archive is reproducible", func(t *testing.T) { checkReproducible(t, tree, directory) })
}

// The manifest at the top belongs to the sources that its first lines name, so
// only its form can be checked at every commit.
func TestCommittedManifest(t *testing.T) {
	t.Parallel()
	committed := readFile(t, checkout(t).path("krew-manifest.yaml"))
	manifest := filepath.Join(t.TempDir(), "rotate-certs.yaml")
	if err := os.WriteFile(manifest, committed, 0o600); err != nil {
		t.Fatal(err)
	}
	validateManifest(t, krewTools(t), manifest)
}

func archiveName(b bundle, target platform) string {
	extension := map[string]string{"linux": "tar.gz", "darwin": "tar.gz", "windows": "zip"}[target.os]
	return b.name + "_" + testVersion + "_" + target.os + "_" + target.arch + "." + extension
}

func checkContent(t *testing.T, b bundle, target platform, archive string) {
	t.Helper()
	suffix := map[string]string{"windows": ".exe"}[target.os]
	want := []string{"LICENSE", noticesFile}
	for _, program := range b.programs {
		want = append(want, program+suffix)
	}
	if b.name == pluginBundle.name {
		for _, node := range nodePlatforms {
			want = append(want, nodeEntry(node))
		}
	}
	var got []string
	if target.os == "windows" {
		reader, err := zip.OpenReader(archive)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = reader.Close() }()
		for _, file := range reader.File {
			got = append(got, file.Name)
		}
	} else {
		unpacked, err := gzip.NewReader(bytes.NewReader(readFile(t, archive)))
		if err != nil {
			t.Fatal(err)
		}
		for reader := tar.NewReader(unpacked); ; {
			header, err := reader.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, header.Name)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("files = %q, want %q", got, want)
	}
}

// checkReproducible builds an archive again, from a copy of the sources in
// another directory that is no git checkout, and expects the same bytes.
func checkReproducible(t *testing.T, tree source, directory string) {
	t.Helper()
	elsewhere := source{root: filepath.Join(t.TempDir(), "copy"), version: tree.version}
	for _, name := range []string{"cmd", "deploy", "pkg", "plugin"} {
		if err := os.CopyFS(elsewhere.path(name), os.DirFS(tree.path(name))); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"go.mod", "go.sum", "LICENSE"} {
		if err := os.WriteFile(elsewhere.path(name), readFile(t, tree.path(name)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	target := platform{"linux", "amd64"}
	carried, err := buildForNodes(t.Context(), elsewhere, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	again, err := writeArchive(t.Context(), elsewhere, pluginBundle, target, t.TempDir(), carried)
	if err != nil {
		t.Fatal(err)
	}
	if first := sha256Of(readFile(t, filepath.Join(directory, archiveName(pluginBundle, target)))); again.sha256 != first {
		t.Errorf("a copy of the sources gives %s, want %s", again.sha256, first)
	}
}

package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

const testImageName = "registry.example/node:v9.8.7"

func TestImageHoldsTheProgramsAndLicencesOnly(t *testing.T) {
	image := testImage(t, platform{"linux", "arm64"})
	layers, err := image.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("image has %d layers (%v), want 1", len(layers), err)
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"usr/ rwxr-xr-x", "usr/local/ rwxr-xr-x", "usr/local/bin/ rwxr-xr-x",
		"LICENSE rw-r--r--", "THIRD-PARTY-NOTICES rw-r--r--", "usr/local/bin/first rwxr-xr-x", "usr/local/bin/second rwxr-xr-x",
	}
	var got []string
	for archive := tar.NewReader(content); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, header.Name+" "+strings.TrimPrefix(header.FileInfo().Mode().Perm().String(), "-"))
		if header.Uid != 0 || header.Gid != 0 || !header.ModTime.Equal(epoch) {
			t.Errorf("%s: owner %d:%d, time %v; want 0:0 and %v", header.Name, header.Uid, header.Gid, header.ModTime, epoch)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("files = %q, want %q", got, want)
	}
}

func TestImageRunsItsFirstProgramOnItsPlatform(t *testing.T) {
	config, err := testImage(t, platform{"linux", "arm64"}).ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.OS != "linux" || config.Architecture != "arm64" {
		t.Errorf("platform = %s/%s, want linux/arm64", config.OS, config.Architecture)
	}
	if want := []string{"/usr/local/bin/first"}; !slices.Equal(config.Config.Entrypoint, want) {
		t.Errorf("entrypoint = %q, want %q", config.Config.Entrypoint, want)
	}
}

// The archive is read here as a container runtime reads it, with none of the
// library that wrote it.
func TestOCIArchive(t *testing.T) {
	files := readTar(t, testArchive(t))

	for name, content := range files {
		if digest, isBlob := strings.CutPrefix(name, "blobs/sha256/"); isBlob && sha256Of(content) != digest {
			t.Errorf("blob %s has the sum %s", digest, sha256Of(content))
		}
	}
	var top v1.IndexManifest
	unmarshal(t, files["index.json"], &top)
	if len(top.Manifests) != 1 {
		t.Fatalf("index.json names %d images, want 1", len(top.Manifests))
	}
	image := top.Manifests[0]
	for _, annotation := range []string{"io.containerd.image.name", "org.opencontainers.image.ref.name"} {
		if got := image.Annotations[annotation]; got != testImageName {
			t.Errorf("annotation %s = %q, want %q", annotation, got, testImageName)
		}
	}
	if got, want := string(image.MediaType), "application/vnd.oci.image.index.v1+json"; got != want {
		t.Errorf("media type = %s, want %s", got, want)
	}
	var index v1.IndexManifest
	unmarshal(t, files["blobs/sha256/"+image.Digest.Hex], &index)
	var platforms []string
	for _, manifest := range index.Manifests {
		platforms = append(platforms, manifest.Platform.String())
		if manifest.ArtifactType != "" {
			t.Errorf("%s is listed as an artifact of type %s, not as an image", manifest.Platform, manifest.ArtifactType)
		}
		if files["blobs/sha256/"+manifest.Digest.Hex] == nil {
			t.Errorf("manifest for %s is missing", manifest.Platform)
		}
	}
	if want := []string{"linux/amd64", "linux/arm64"}; !slices.Equal(platforms, want) {
		t.Errorf("platforms = %q, want %q", platforms, want)
	}
}

func TestOCIArchiveIsReproducible(t *testing.T) {
	if first, second := testArchive(t), testArchive(t); !bytes.Equal(first, second) {
		t.Errorf("two archives of the same content differ: %s, %s", sha256Of(first), sha256Of(second))
	}
}

// testImage is an image of two programs that are no real ones.
func testImage(t *testing.T, target platform) v1.Image {
	t.Helper()
	root := t.TempDir()
	for name, content := range map[string]string{"LICENSE": "licence", noticesFile: "notices", "first": "one " + target.arch, "second": "two"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	image, err := programsImage(source{root: root, version: "v9.8.7"}, target, root, []string{"first", "second"})
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func testArchive(t *testing.T) []byte {
	t.Helper()
	var index v1.ImageIndex = empty.Index
	for _, target := range nodePlatforms {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        plainImage{testImage(t, target)},
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: target.os, Architecture: target.arch}},
		})
	}
	path := filepath.Join(t.TempDir(), "image.tar")
	if err := writeOCIArchive(path, testImageName, index); err != nil {
		t.Fatal(err)
	}
	return readFile(t, path)
}

func readTar(t *testing.T, content []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for archive := tar.NewReader(bytes.NewReader(content)); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(archive); err != nil {
			t.Fatal(err)
		}
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func sha256Of(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

func unmarshal(t *testing.T, content []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(content, into); err != nil {
		t.Fatalf("parse %q: %v", content, err)
	}
}

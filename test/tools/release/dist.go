package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

const (
	projectURL        = "https://github.com/rotate-certs/rotate-certs"
	pluginProgram     = "kubectl-rotate_certs"
	completionProgram = "kubectl_complete-rotate_certs"
)

// pluginPlatforms are those that the plugin is published for.
var pluginPlatforms = []platform{
	{"linux", "amd64"}, {"linux", "arm64"},
	{"darwin", "amd64"}, {"darwin", "arm64"},
	{"windows", "amd64"}, {"windows", "arm64"},
}

// pluginArchive is one platform's published file.
type pluginArchive struct {
	platform platform
	file     string // its name in the distribution
	sha256   string
}

// entry is one file of an archive.
type entry struct {
	name string
	path string
	mode os.FileMode
}

// writeDistribution fills a directory with an archive for every platform and
// their checksums, and writes the Krew manifest that names these.
func writeDistribution(ctx context.Context, source source, directory, manifest string) error {
	if directory == "" || manifest == "" {
		return errors.New("dist needs -o and -manifest")
	}
	var archives []pluginArchive
	var sums strings.Builder
	for _, target := range pluginPlatforms {
		archive, err := writePluginArchive(ctx, source, target, directory)
		if err != nil {
			return err
		}
		archives = append(archives, archive)
		fmt.Fprintf(&sums, "%s  %s\n", archive.sha256, archive.file)
		fmt.Printf("%s  %s\n", archive.sha256, archive.file)
	}
	if err := writeText(filepath.Join(directory, "SHA256SUMS"), sums.String()); err != nil {
		return err
	}
	return writeManifest(manifest, source.version, source.commit(ctx), archives)
}

// writePluginArchive builds the plugin for one platform and archives it: as
// zip for Windows, else as a compressed tar.
func writePluginArchive(ctx context.Context, source source, target platform, directory string) (pluginArchive, error) {
	work, err := os.MkdirTemp("", "rotate-certs-dist-")
	if err != nil {
		return pluginArchive{}, fmt.Errorf("archive plugin: %w", err)
	}
	defer func() { _ = os.RemoveAll(work) }()
	if err := source.build(ctx, target, work, pluginProgram, completionProgram); err != nil {
		return pluginArchive{}, err
	}
	notices := filepath.Join(work, noticesFile)
	text, err := source.noticesOf(ctx, target, pluginProgram, completionProgram)
	if err != nil {
		return pluginArchive{}, err
	}
	if err := writeText(notices, text); err != nil {
		return pluginArchive{}, err
	}
	entries := []entry{{"LICENSE", source.path("LICENSE"), 0o644}, {noticesFile, notices, 0o644}}
	for _, program := range []string{pluginProgram, completionProgram} {
		name := target.executable(program)
		entries = append(entries, entry{name, filepath.Join(work, name), 0o755})
	}

	write, extension := writeTarGzip, "tar.gz"
	if target.os == "windows" {
		write, extension = writeZip, "zip"
	}
	name := fmt.Sprintf("rotate-certs_%s_%s_%s.%s", source.version, target.os, target.arch, extension)
	sum := sha256.New()
	err = writeFile(filepath.Join(directory, name), func(w io.Writer) error {
		return write(io.MultiWriter(w, sum), entries)
	})
	if err != nil {
		return pluginArchive{}, err
	}
	return pluginArchive{platform: target, file: name, sha256: hex.EncodeToString(sum.Sum(nil))}, nil
}

func writeTarGzip(w io.Writer, entries []entry) error {
	compressed := gzip.NewWriter(w)
	archive := tar.NewWriter(compressed)
	for _, e := range entries {
		if err := addToTar(archive, e.name, int64(e.mode), e.path); err != nil {
			return err
		}
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return compressed.Close()
}

func writeZip(w io.Writer, entries []entry) error {
	archive := zip.NewWriter(w)
	for _, e := range entries {
		if err := addToZip(archive, e); err != nil {
			return fmt.Errorf("add %q: %w", e.name, err)
		}
	}
	return archive.Close()
}

func addToZip(archive *zip.Writer, e entry) error {
	header := &zip.FileHeader{Name: e.name, Method: zip.Deflate, Modified: epoch}
	header.SetMode(e.mode)
	target, err := archive.CreateHeader(header)
	if err != nil {
		return err
	}
	file, err := os.Open(e.path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	_, err = io.Copy(target, file)
	return err
}

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
	"runtime"
	"slices"
	"strings"
	"sync"
)

const (
	projectURL        = "https://github.com/rotate-certs/rotate-certs"
	pluginProgram     = "kubectl-rotate_certs"
	completionProgram = "kubectl_complete-rotate_certs"
	nodeProgram       = "rotate-certs-node"
)

// pluginPlatforms are those that the plugin is published for.
var pluginPlatforms = []platform{
	{"linux", "amd64"}, {"linux", "arm64"},
	{"darwin", "amd64"}, {"darwin", "arm64"},
	{"windows", "amd64"}, {"windows", "arm64"},
}

// bundle is a set of programs that is published as one archive for each platform.
type bundle struct {
	name      string // what the names of its archives begin with
	programs  []string
	platforms []platform
}

var (
	pluginBundle = bundle{"rotate-certs", []string{pluginProgram, completionProgram}, pluginPlatforms}
	// nodeBundle is for nodes on which no pod can be started.
	nodeBundle = bundle{nodeProgram, []string{nodeProgram}, nodePlatforms}
)

// publishedArchive is a bundle's published file for one platform.
type publishedArchive struct {
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

// writeDistribution fills a directory with the archives of every bundle and their checksums,
// and writes the Krew manifest, which names those of the plugin.
func writeDistribution(ctx context.Context, source source, directory, manifest string) error {
	if directory == "" || manifest == "" {
		return errors.New("dist needs -o and -manifest")
	}
	work, err := os.MkdirTemp("", "rotate-certs-nodes-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	carried, err := buildForNodes(ctx, source, work)
	if err != nil {
		return err
	}
	plugin, err := writeArchives(ctx, source, pluginBundle, directory, carried)
	if err != nil {
		return err
	}
	node, err := writeArchives(ctx, source, nodeBundle, directory, nodePrograms{})
	if err != nil {
		return err
	}
	var sums strings.Builder
	for _, archive := range append(slices.Clone(plugin), node...) {
		fmt.Fprintf(&sums, "%s  %s\n", archive.sha256, archive.file)
	}
	fmt.Print(sums.String())
	if err := writeText(filepath.Join(directory, "SHA256SUMS"), sums.String()); err != nil {
		return err
	}
	return writeManifest(manifest, source.version, source.commit(ctx), plugin)
}

// nodeEntry is the name of the node program in the plugin's archives. The plugin copies it to hosts
// that it reaches over ssh.
func nodeEntry(target platform) string {
	return fmt.Sprintf("%s-%s-%s", nodeProgram, target.os, target.arch)
}

// nodePrograms are the files of the plugin's archives that are not built for their platform: the
// node program for all nodes' platforms, and the notices of what is linked into it.
type nodePrograms struct {
	entries []entry
	notices string
}

// buildForNodes builds the node program for all nodes' platforms.
func buildForNodes(ctx context.Context, source source, work string) (nodePrograms, error) {
	var out nodePrograms
	for _, target := range nodePlatforms {
		directory := filepath.Join(work, target.arch)
		if err := source.build(ctx, target, directory, nodeProgram); err != nil {
			return out, fmt.Errorf("build %s for %s: %w", nodeProgram, target, err)
		}
		out.entries = append(out.entries, entry{nodeEntry(target), filepath.Join(directory, nodeProgram), 0o755})
	}
	notices, err := source.noticesOf(ctx, nodePlatforms[0], nodeProgram)
	out.notices = "\n" + notices
	return out, err
}

// writeArchives writes a bundle's archives, one for each platform, with the node programs in each.
// Most of the work is compression, so that every processor writes one of them at a time.
func writeArchives(ctx context.Context, source source, b bundle, directory string, carried nodePrograms) ([]publishedArchive, error) {
	archives := make([]publishedArchive, len(b.platforms))
	failures := make([]error, len(b.platforms))
	working := make(chan struct{}, runtime.GOMAXPROCS(0))
	var writers sync.WaitGroup
	for n, target := range b.platforms {
		writers.Go(func() {
			working <- struct{}{}
			defer func() { <-working }()
			archive, err := writeArchive(ctx, source, b, target, directory, carried)
			if err != nil {
				failures[n] = fmt.Errorf("archive %s for %s: %w", b.name, target, err)
			}
			archives[n] = archive
		})
	}
	writers.Wait()
	return archives, errors.Join(failures...)
}

// writeArchive builds a bundle's programs for one platform and archives them: as zip for
// Windows, else as a compressed tar.
func writeArchive(ctx context.Context, source source, b bundle, target platform, directory string, carried nodePrograms) (publishedArchive, error) {
	work, err := os.MkdirTemp("", "rotate-certs-dist-")
	if err != nil {
		return publishedArchive{}, err
	}
	defer func() { _ = os.RemoveAll(work) }()
	if err := source.build(ctx, target, work, b.programs...); err != nil {
		return publishedArchive{}, err
	}
	notices := filepath.Join(work, noticesFile)
	text, err := source.noticesOf(ctx, target, b.programs...)
	if err != nil {
		return publishedArchive{}, err
	}
	text += carried.notices
	if err := writeText(notices, text); err != nil {
		return publishedArchive{}, err
	}
	entries := []entry{{"LICENSE", source.path("LICENSE"), 0o644}, {noticesFile, notices, 0o644}}
	for _, program := range b.programs {
		name := target.executable(program)
		entries = append(entries, entry{name, filepath.Join(work, name), 0o755})
	}

	entries = append(entries, carried.entries...)

	write, extension := writeTarGzip, "tar.gz"
	if target.os == "windows" {
		write, extension = writeZip, "zip"
	}
	name := fmt.Sprintf("%s_%s_%s_%s.%s", b.name, source.version, target.os, target.arch, extension)
	sum := sha256.New()
	err = writeFile(filepath.Join(directory, name), func(w io.Writer) error {
		return write(io.MultiWriter(w, sum), entries)
	})
	if err != nil {
		return publishedArchive{}, err
	}
	return publishedArchive{platform: target, file: name, sha256: hex.EncodeToString(sum.Sum(nil))}, nil
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

package main

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// writeOCIArchive writes an image index as a tar of an OCI layout. It is named
// twice: containerd reads one annotation, CRI-O, Podman and Skopeo the other.
func writeOCIArchive(output, name string, index v1.ImageIndex) error {
	directory, err := os.MkdirTemp("", "rotate-certs-oci-")
	if err != nil {
		return fmt.Errorf("write image archive: %w", err)
	}
	defer func() { _ = os.RemoveAll(directory) }()

	images, err := layout.Write(directory, empty.Index)
	if err != nil {
		return fmt.Errorf("start OCI layout: %w", err)
	}
	err = images.AppendIndex(index, layout.WithAnnotations(map[string]string{
		"io.containerd.image.name":          name,
		"org.opencontainers.image.ref.name": name,
	}))
	if err != nil {
		return fmt.Errorf("add image %q to OCI layout: %w", name, err)
	}
	return writeFile(output, func(w io.Writer) error { return tarDirectory(w, directory) })
}

// tarDirectory writes the files below a directory in the order of their names.
func tarDirectory(w io.Writer, directory string) error {
	archive := tar.NewWriter(w)
	err := filepath.WalkDir(directory, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(directory, path)
		if err != nil {
			return err
		}
		return addToTar(archive, filepath.ToSlash(name), 0o644, path)
	})
	if err != nil {
		return fmt.Errorf("archive %q: %w", directory, err)
	}
	return archive.Close()
}

// addToTar adds one file, owned by root and of no particular time.
func addToTar(archive *tar.Writer, name string, mode int64, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("add %q: %w", name, err)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("add %q: %w", name, err)
	}
	header := tar.Header{
		Typeflag: tar.TypeReg, Name: name, Size: info.Size(), Mode: mode, ModTime: epoch, Format: tar.FormatUSTAR,
	}
	if err := archive.WriteHeader(&header); err != nil {
		return fmt.Errorf("add %q: %w", name, err)
	}
	if _, err := io.Copy(archive, file); err != nil {
		return fmt.Errorf("add %q: %w", name, err)
	}
	return nil
}

package parts

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// layer is a tar file with a part of an image's tree.
type layer struct {
	path   string // of the tar file
	digest string // hex SHA-256 of it
}

// image is one container image: a name, layers, and what it runs.
type image struct {
	name       string
	layers     []layer
	entrypoint []string
}

// treeFile is one entry of a layer: a copy of the file at source, or a hard or
// symbolic link.
type treeFile struct {
	path     string
	source   string
	hardLink string
	symlink  string
}

// writeLayer writes a layer with these files. Its bytes depend on nothing else.
func writeLayer(file string, files []treeFile) (layer, error) {
	out, err := os.Create(file)
	if err != nil {
		return layer{}, err
	}
	defer out.Close()
	hash := sha256.New()
	archive := tar.NewWriter(io.MultiWriter(out, hash))
	directories := map[string]bool{".": true}
	for _, f := range files {
		if err := writeParents(archive, directories, path.Dir(f.path)); err != nil {
			return layer{}, err
		}
		if err := writeEntry(archive, f); err != nil {
			return layer{}, fmt.Errorf("layer %q: %w", filepath.Base(file), err)
		}
	}
	if err := archive.Close(); err != nil {
		return layer{}, err
	}
	return layer{path: file, digest: hex.EncodeToString(hash.Sum(nil))}, out.Close()
}

func writeParents(archive *tar.Writer, written map[string]bool, dir string) error {
	if written[dir] {
		return nil
	}
	if err := writeParents(archive, written, path.Dir(dir)); err != nil {
		return err
	}
	written[dir] = true
	return archive.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755})
}

func writeEntry(archive *tar.Writer, f treeFile) error {
	switch {
	case f.symlink != "":
		return archive.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: f.path, Linkname: f.symlink, Mode: 0o777})
	case f.hardLink != "":
		return archive.WriteHeader(&tar.Header{Typeflag: tar.TypeLink, Name: f.path, Linkname: f.hardLink, Mode: 0o755})
	}
	in, err := os.Open(f.source)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	header := &tar.Header{Typeflag: tar.TypeReg, Name: f.path, Size: info.Size(), Mode: int64(info.Mode().Perm())}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(archive, in)
	return err
}

// writeArchive writes images in the format of `docker save`.
func writeArchive(file string, images []image) error {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer out.Close()
	archive := tar.NewWriter(out)
	type entry struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	var manifest []entry
	written := map[string]bool{}
	for _, img := range images {
		config, err := img.config()
		if err != nil {
			return err
		}
		sum := sha256.Sum256(config)
		item := entry{Config: hex.EncodeToString(sum[:]) + ".json", RepoTags: []string{img.name}}
		if err := addBytes(archive, written, item.Config, config); err != nil {
			return err
		}
		for _, l := range img.layers {
			name := l.digest + ".tar"
			item.Layers = append(item.Layers, name)
			if written[name] {
				continue
			}
			written[name] = true
			if err := writeEntry(archive, treeFile{path: name, source: l.path}); err != nil {
				return err
			}
		}
		manifest = append(manifest, item)
	}
	data, err := json.Marshal(manifest)
	if err != nil {
		return err
	}
	if err := addBytes(archive, written, "manifest.json", data); err != nil {
		return err
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return out.Close()
}

func addBytes(archive *tar.Writer, written map[string]bool, name string, data []byte) error {
	if written[name] {
		return nil
	}
	written[name] = true
	if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(data)), Mode: 0o644}); err != nil {
		return err
	}
	_, err := archive.Write(data)
	return err
}

// config is the image's configuration as the OCI image specification has it.
func (i image) config() ([]byte, error) {
	var diffIDs []string
	for _, l := range i.layers {
		diffIDs = append(diffIDs, "sha256:"+l.digest)
	}
	return json.Marshal(map[string]any{
		// A runtime silently ignores images for another platform, and
		// those that name none.
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"created":      time.Unix(0, 0).UTC(),
		"config": map[string]any{
			"Entrypoint": i.entrypoint,
			"Env":        []string{"PATH=" + strings.Join(searchPath, ":")},
		},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs},
		// Two images with the same layers would be one image without it.
		"comment": i.name,
	})
}

var searchPath = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}

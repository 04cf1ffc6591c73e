package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// nodePlatforms are those that have images.
var nodePlatforms = []platform{{"linux", "amd64"}, {"linux", "arm64"}}

// programDirectory is where programs lie inside the image.
const programDirectory = "usr/local/bin"

// writeImage builds the programs for every node platform and writes an image of them to an
// OCI archive. The first program is the entrypoint, and names the image.
func writeImage(ctx context.Context, source source, output string, programs []string) error {
	if output == "" || len(programs) == 0 {
		return errors.New("image needs -o and the programs that belong into it")
	}
	name, err := source.imageOf(ctx, programs[0])
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "rotate-certs-image-")
	if err != nil {
		return fmt.Errorf("build image: %w", err)
	}
	defer func() { _ = os.RemoveAll(work) }()

	var index v1.ImageIndex = empty.Index
	for _, target := range nodePlatforms {
		directory := filepath.Join(work, target.arch)
		if err := source.build(ctx, target, directory, programs...); err != nil {
			return err
		}
		notices, err := source.noticesOf(ctx, target, programs...)
		if err != nil {
			return err
		}
		if err := writeText(filepath.Join(directory, noticesFile), notices); err != nil {
			return err
		}
		image, err := programsImage(source, target, directory, programs)
		if err != nil {
			return fmt.Errorf("assemble image for %s: %w", target, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        plainImage{image},
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: target.os, Architecture: target.arch}},
		})
	}
	if err := writeOCIArchive(output, name, index); err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil {
		return fmt.Errorf("compute digest of image: %w", err)
	}
	fmt.Printf("%s  %s  %s\n", filepath.Base(output), name, digest)
	return nil
}

// plainImage is an image that an index lists as such. The library would label
// it with its config's media type as if it were some other artifact.
type plainImage struct{ v1.Image }

// ArtifactType implements what the library asks of a described object.
func (plainImage) ArtifactType() (string, error) { return "", nil }

// programsImage is the image for one platform: a root directory that holds the
// programs, the licence and the notices of others, and nothing else.
func programsImage(source source, target platform, directory string, programs []string) (v1.Image, error) {
	files, err := rootFilesystem(source, directory, programs)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(files)), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, fmt.Errorf("make layer: %w", err)
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.Append(base, mutate.Addendum{
		Layer:   layer,
		History: v1.History{Created: v1.Time{Time: epoch}, CreatedBy: "make image"},
	})
	if err != nil {
		return nil, fmt.Errorf("append layer: %w", err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = target.os, target.arch
	config.Created = v1.Time{Time: epoch}
	config.Config = v1.Config{
		Entrypoint: []string{"/" + programDirectory + "/" + programs[0]},
		Env:        []string{"PATH=/" + programDirectory},
		WorkingDir: "/",
		User:       "0:0",
		Labels: map[string]string{
			"org.opencontainers.image.title":    programs[0],
			"org.opencontainers.image.version":  source.version,
			"org.opencontainers.image.source":   projectURL,
			"org.opencontainers.image.licenses": "Apache-2.0",
		},
	}
	return mutate.ConfigFile(image, config)
}

// rootFilesystem is the uncompressed tar of the image's only layer.
func rootFilesystem(source source, directory string, programs []string) ([]byte, error) {
	var buffer bytes.Buffer
	archive := tar.NewWriter(&buffer)
	for _, name := range []string{"usr/", "usr/local/", programDirectory + "/"} {
		header := tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755, ModTime: epoch, Format: tar.FormatUSTAR}
		if err := archive.WriteHeader(&header); err != nil {
			return nil, fmt.Errorf("add directory %q: %w", name, err)
		}
	}
	if err := addToTar(archive, "LICENSE", 0o644, source.path("LICENSE")); err != nil {
		return nil, err
	}
	if err := addToTar(archive, noticesFile, 0o644, filepath.Join(directory, noticesFile)); err != nil {
		return nil, err
	}
	for _, program := range programs {
		if err := addToTar(archive, programDirectory+"/"+program, 0o755, filepath.Join(directory, program)); err != nil {
			return nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return nil, fmt.Errorf("finish layer: %w", err)
	}
	return buffer.Bytes(), nil
}

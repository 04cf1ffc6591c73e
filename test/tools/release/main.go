// Command release makes what is published of a version: the images and the
// plugin's archives with their Krew manifest. It needs Go and nothing else, and
// the same sources, version and Go release give the same bytes.
//
//	release image -version v1.2.3 -o dist/node.tar rotate-certs-node
//	release dist  -version v1.2.3 -o dist -manifest krew-manifest.yaml
//	release notices -version v1.2.3 -o dist/THIRD-PARTY-NOTICES rotate-certs-node
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

// versionPattern is what Krew and an image tag both accept.
var versionPattern = regexp.MustCompile(`^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("no command given\ncommands: image, dist, notices")
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	root := flags.String("root", "../../..", "top of the source tree; other paths are relative to it")
	version := flags.String("version", "", "version to stamp, vX.Y.Z")
	output := flags.String("o", "", "image, notices: file to write; dist: directory to fill")
	manifest := flags.String("manifest", "", "dist: Krew manifest to write")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if !versionPattern.MatchString(*version) {
		return fmt.Errorf("version %q is not vX.Y.Z or vX.Y.Z-pre", *version)
	}
	tree, err := filepath.Abs(*root)
	if err != nil {
		return fmt.Errorf("find source tree %q: %w", *root, err)
	}
	source := source{root: tree, version: *version}

	switch args[0] {
	case "image":
		return writeImage(ctx, source, source.path(*output), flags.Args())
	case "dist":
		return writeDistribution(ctx, source, source.path(*output), source.path(*manifest))
	case "notices":
		return writeNotices(ctx, source, source.path(*output), flags.Args())
	default:
		return fmt.Errorf("unknown command %q\ncommands: image, dist, notices", args[0])
	}
}

// Command imagename prints the name of the image that this version asks for to run a
// program. The image archive is named by it, so the two cannot differ.
package main

import (
	"fmt"
	"os"

	"github.com/rotate-certs/rotate-certs/pkg/version"
)

func main() {
	images := map[string]string{"rotate-certs-node": version.NodeImage(), "rotate-certs-watcher": version.WatcherImage()}
	if len(os.Args) != 2 || images[os.Args[1]] == "" {
		fmt.Fprintln(os.Stderr, "usage: imagename rotate-certs-node|rotate-certs-watcher")
		os.Exit(2)
	}
	fmt.Println(images[os.Args[1]])
}

// Command nodeimage prints the name of the node image that the plugin of this
// version asks for. The image archive is named by it, so the two cannot differ.
package main

import (
	"fmt"

	"github.com/rotate-certs/rotate-certs/pkg/version"
)

func main() {
	fmt.Println(version.NodeImage())
}

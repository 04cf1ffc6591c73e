package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// typedByPeople are the commands that an operator types, in the order of the page. The others are
// run by pods and over ssh.
var typedByPeople = []string{"check", "rotate", "rollback", "history", "recover", "scan", "forget", "version"}

// TestCommandReference: docs/node-commands.md has the commands as they are. To write it anew:
// UPDATE=1 go test -run TestCommandReference ./cmd/rotate-certs-node
func TestCommandReference(t *testing.T) {
	root := newCommand(strings.NewReader(""), io.Discard, io.Discard)
	var page bytes.Buffer
	page.WriteString("# Commands of rotate-certs-node\n\nWritten by `UPDATE=1 go test -run TestCommandReference ./cmd/rotate-certs-node` from the commands themselves. " +
		"`rotate-certs-node COMMAND --help` prints the same. They run on a node, as root. [Get the program](troubleshooting.md#get-the-program).\n")
	for _, name := range typedByPeople {
		c, _, err := root.Find([]string{name})
		if err != nil {
			t.Fatal(err)
		}
		writeCommand(&page, c)
	}
	page.WriteString("\n## Flags of every command\n\n")
	writeFlags(&page, root.PersistentFlags())
	const path = "../../docs/node-commands.md"
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, page.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if written := readFile(t, path); !bytes.Equal(written, page.Bytes()) {
		t.Errorf("%s is not that of the commands: UPDATE=1 go test -run TestCommandReference ./cmd/rotate-certs-node", path)
	}
}

func writeCommand(w io.Writer, c *cobra.Command) {
	fmt.Fprintf(w, "\n## rotate-certs-node %s\n\n%s.\n", c.Name(), strings.TrimSuffix(c.Short, "."))
	if c.Long != "" {
		fmt.Fprintf(w, "\n```text\n%s\n```\n", strings.TrimSpace(c.Long))
	}
	fmt.Fprintf(w, "\n```\n%s\n```\n", c.UseLine())
	if c.LocalNonPersistentFlags().HasAvailableFlags() {
		fmt.Fprintln(w)
		writeFlags(w, c.LocalNonPersistentFlags())
	}
}

func writeFlags(w io.Writer, flags *pflag.FlagSet) {
	fmt.Fprint(w, "| flag | default | meaning |\n|---|---|---|\n")
	flags.VisitAll(func(f *pflag.Flag) {
		name := "`--" + f.Name + "`"
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		value := ""
		if f.DefValue != "" && f.DefValue != "[]" && f.DefValue != "false" {
			value = "`" + f.DefValue + "`"
		}
		fmt.Fprintf(w, "| %s | %s | %s |\n", name, value, f.Usage)
	})
}

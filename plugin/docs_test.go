package plugin

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// document compares a page of docs/ with what it is written from; UPDATE=1 writes it.
func document(t *testing.T, name, want string) {
	t.Helper()
	path := filepath.Join("..", "docs", name)
	if os.Getenv("UPDATE") != "" {
		require.NoError(t, os.WriteFile(path, []byte(want), 0o644))
	}
	got, err := os.ReadFile(path)
	require.NoError(t, err, "UPDATE=1 go test -run %s ./plugin writes it", t.Name())
	assert.Equal(t, want, string(got), "UPDATE=1 go test -run %s ./plugin writes docs/%s", t.Name(), name)
}

// TestCommandReference keeps docs/commands.md true.
func TestCommandReference(t *testing.T) {
	streams, _, _, _ := genericiooptions.NewTestIOStreams()
	a := &app{IOStreams: streams, now: func() time.Time { return noon }}
	root := a.rootCommand(newConnectionFlags())
	var page bytes.Buffer
	page.WriteString("# Commands and flags\n\nWritten by `UPDATE=1 go test -run TestCommandReference ./plugin` from the commands themselves. " +
		"`kubectl rotate-certs COMMAND --help` prints the same.\n\n")
	commands := commandsBelow(root)
	for _, c := range commands {
		name := callName(c)
		fmt.Fprintf(&page, "- [%s](#%s): %s\n", name, strings.ReplaceAll(name, " ", "-"), c.Short)
	}
	page.WriteString("- [flags of kubectl](#flags-of-kubectl)\n")
	for _, c := range commands {
		writeCommand(&page, c, root.PersistentFlags())
	}
	page.WriteString("\n## Flags of kubectl\n\nEvery command takes them to reach the cluster, with kubectl's own meaning where nothing else is said. `kubectl rotate-certs options` prints them.\n\n")
	writeFlags(&page, root.PersistentFlags())
	document(t, "commands.md", page.String())
}

// commandsBelow is a command and all below it that people call, in the order of their names.
func commandsBelow(c *cobra.Command) []*cobra.Command {
	out := []*cobra.Command{c}
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			out = append(out, commandsBelow(sub)...)
		}
	}
	return out
}

// callName is how people call a command.
func callName(c *cobra.Command) string {
	return strings.Replace(c.CommandPath(), fileName, displayName, 1)
}

func writeCommand(w *bytes.Buffer, c *cobra.Command, shared *pflag.FlagSet) {
	fmt.Fprintf(w, "\n## %s\n\n%s.\n", callName(c), strings.TrimSuffix(c.Short, "."))
	if c.Long != "" {
		fmt.Fprintf(w, "\n```text\n%s\n```\n", strings.TrimSpace(c.Long))
	}
	_, arguments, _ := strings.Cut(c.Use, " ")
	fmt.Fprintf(w, "\n```\n%s [flags]\n```\n", strings.TrimSpace(callName(c)+" "+arguments))
	if c.Example != "" {
		fmt.Fprintf(w, "\n```\n%s\n```\n", unindented(c.Example))
	}
	own := pflag.NewFlagSet("own", pflag.ContinueOnError)
	own.SortFlags = false
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if shared.Lookup(f.Name) != f {
			own.AddFlag(f)
		}
	})
	if own.HasAvailableFlags() {
		w.WriteString("\n")
		writeFlags(w, own)
	}
}

func writeFlags(w *bytes.Buffer, flags *pflag.FlagSet) {
	w.WriteString("| flag | value | default | meaning |\n|---|---|---|---|\n")
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		name := "`--" + f.Name + "`"
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		kind, usage := pflag.UnquoteUsage(f)
		fmt.Fprintf(w, "| %s | %s | %s | %s |\n", name, kind, defaultOf(f), inCell(usage))
	})
}

// defaultOf is a flag's default as a reader needs it; empty where it is nothing. That of
// --cache-dir and of an image depends on who runs which version.
func defaultOf(f *pflag.Flag) string {
	switch f.DefValue {
	case "", "false", "[]", "0", "0s":
		return ""
	}
	if home, err := os.UserHomeDir(); err == nil && strings.HasPrefix(f.DefValue, home) {
		return "`~" + strings.TrimPrefix(f.DefValue, home) + "`"
	}
	if image, _, ok := strings.Cut(f.DefValue, ":v"); ok && f.Name == "image" {
		return "`" + image + ":VERSION`"
	}
	return "`" + f.DefValue + "`"
}

// inCell keeps a text from ending its cell of a table.
func inCell(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, "\n", " "), "|", `\|`)
}

// unindented drops the two blanks that examples begin with in a terminal.
func unindented(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(line, "  ")
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}

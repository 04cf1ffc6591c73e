package plugin

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// calledInDocs finds a call of the plugin in a text, up to the end of the line, of the code, of
// a quotation, or to a comment or another command.
var calledInDocs = regexp.MustCompile("kubectl rotate-certs((?: +[^\\s`#|&>);\"]+)*)")

// TestDocumentedCommandsExist: each command and each flag that a document names is one of the
// plugin's.
func TestDocumentedCommandsExist(t *testing.T) {
	streams, _, _, _ := genericiooptions.NewTestIOStreams()
	a := &app{IOStreams: streams, now: func() time.Time { return noon }}
	var documents []string
	for _, pattern := range []string{"../*.md", "../docs/*.md", "../deploy/*/*.yaml", "../test/demo", "../.github/*/*.yml"} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		documents = append(documents, found...)
	}
	checked := 0
	for _, document := range documents {
		text, err := os.ReadFile(document)
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			for _, found := range calledInDocs.FindAllStringSubmatch(line, -1) {
				words := strings.Fields(strings.NewReplacer("[flags]", "", "[", " ", "]", " ", "…", " ").Replace(found[1]))
				if len(words) == 0 {
					continue
				}
				checked++
				checkCall(t, a.rootCommand(newConnectionFlags()), document, words)
			}
		}
	}
	assert.Greater(t, checked, 100)
}

// checkCall judges the words of one call: a command, then its flags.
func checkCall(t *testing.T, root *cobra.Command, document string, words []string) {
	t.Helper()
	command := root
	for len(words) > 0 {
		below := subcommand(command, words[0])
		if below == nil {
			break
		}
		command = below
		words = words[1:]
	}
	isWord := regexp.MustCompile(`^[a-z]{3,}(-[a-z]+)*$`).MatchString
	if command == root && len(words) > 0 && isWord(words[0]) {
		t.Errorf("%s calls %q, which is no command: %v", document, words[0], words)
	}
	for _, word := range words {
		name, _, _ := strings.Cut(strings.TrimRight(word, ".,:'"), "=")
		switch {
		case strings.HasPrefix(name, "--"):
			name = name[2:]
			if command.Flags().Lookup(name) == nil && root.PersistentFlags().Lookup(name) == nil && name != "help" {
				t.Errorf("%s gives %s the flag --%s, which it does not have", document, command.CommandPath(), name)
			}
		case len(name) == 2 && name[0] == '-':
			if command.Flags().ShorthandLookup(name[1:]) == nil && root.PersistentFlags().ShorthandLookup(name[1:]) == nil {
				t.Errorf("%s gives %s the flag %s, which it does not have", document, command.CommandPath(), name)
			}
		}
	}
}

func subcommand(command *cobra.Command, name string) *cobra.Command {
	for _, c := range command.Commands() {
		if c.Name() == name {
			return c
		}
	}
	return nil
}

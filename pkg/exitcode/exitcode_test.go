package exitcode

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDocument keeps the table of docs/exit-codes.md true; UPDATE=1 writes it.
func TestDocument(t *testing.T) {
	const path = "../../docs/exit-codes.md"
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	block := regexp.MustCompile(`(?s)<!-- table -->.*?<!-- end -->`)
	require.True(t, block.Match(before), "docs/exit-codes.md has a place for the table")
	after := block.ReplaceAllLiteralString(string(before), "<!-- table -->\n"+Table()+"<!-- end -->")
	if os.Getenv("UPDATE") != "" {
		require.NoError(t, os.WriteFile(path, []byte(after), 0o600))
		return
	}
	assert.Equal(t, after, string(before), "UPDATE=1 go test ./pkg/exitcode writes it")
}

func TestHelpHasEveryCodeOfARotation(t *testing.T) {
	lines := strings.Split(Help(), "\n")
	require.Len(t, lines, len(Rows())+1)
	assert.Equal(t, "  0    done and verified", lines[1])
	assert.Equal(t, "  130  interrupted", lines[len(lines)-1])
	for _, l := range lines {
		assert.LessOrEqual(t, len(l), 100)
	}
}

func TestCodesAscend(t *testing.T) {
	rows := Rows()
	for i := range rows[1:] {
		assert.Less(t, rows[i].Code, rows[i+1].Code)
	}
}

package architecture

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// retiredWords are words and figures of speech that this project does not use, and what it
// says instead. The vocabulary is in CONTRIBUTING.md, in the section "Words". Each is its first
// word, or several, and a regular expression for what follows. Both are for lower case, with
// the words of a name apart: TestNodeIsAway is "test node is away".
var retiredWords = []struct{ first, then, instead string }{
	{"told|tells", ``, "published, reported, logged, notifies; a function reports whether …"},
	{"heard|hears", ``, "received, read"},
	{"stranger|strangers", ``, "unknown, another user, another CA"},
	{"sick", ``, "unhealthy"},
	{"mend|mends|mended|mending", ``, "fix"},
	{"go|goes|going|gone|went", ` on\b`, "continues; of a certificate: remains valid"},
	{"look|looks|looked|looking", ` (at|into|after)\b`, "scan, inspect, read"},
	{"a", ` look\b`, "a scan"},
	{"at", ` work\b`, "in progress"},
	{"cut|cuts|cutting", ` off\b`, "interrupted, truncated"},
	{"whoever|somebody|nobody", ``, "the actor by name: the operator, a user, the watcher, the kubelet"},
	{"by", ` (itself|themselves)\b`, "automatically, without a restart"},
	{"the", ` (whole )?story\b`, "event history"},
	{"near|nears|nearing", ` (its|their|the) end\b`, "expires soon"},
	{"lie|lies|lying", ` about\b`, "is not used by a running component"},
	{"is|are|was|were|be|been", ` away\b`, "is unavailable, NotReady, not reachable"},
	{"is|are|was|were|be|been|has|have", ` gone\b`, "is unavailable, missing, deleted"},
	{"need|needs", ` a person\b`, "manual intervention required"},
	{"person", ` must look\b`, "manual intervention required"},
	{"in", ` doubt\b`, "unknown"},
	{"is|are", ` well([^-a-z]|$)`, "is OK, is healthy"},
	{"proof|proofs|proven|prove|proves", ``, "verification, verified"},
	{"swapped", ``, "replaced"},
	{"in", ` (the )?wrong hands\b`, "compromised"},
	{"left", ` alone\b`, "automatic rotation; not changed"},
	{"unmark|unmarks|unmarked", ``, "delete the CompromisedCertificate"},
	{"it|would", ` means? (\d+ cert|nothing)\b`, "matched 12 certificates, no certificate matches"},
	{"in", ` spite of\b`, "even if … fails"},
	{"behind", ` (its|their) back\b`, "the fact"},
}

// wordLists name retired words in order to find them.
var wordLists = []string{"test/architecture/words_test.go", "test/architecture/names_test.go"}

func TestRetiredWordsAreNotUsed(t *testing.T) {
	texts := trackedTexts(t)
	for _, file := range slices.Sorted(maps.Keys(texts)) {
		for _, found := range findRetired(texts[file]) {
			t.Errorf("%s:%s", file, found)
		}
	}
	if len(texts) < 500 {
		t.Errorf("only %d files were checked", len(texts))
	}
}

func TestFindRetired(t *testing.T) {
	text := "func TestNodeIsAway(t *testing.T) {\n\n\t// It goes\n\t// on, is well-formed, and was Told.\n"
	var found []string
	for _, f := range findRetired(text) {
		words, _, _ := strings.Cut(f, " is retired")
		found = append(found, words)
	}
	if want := []string{`1: "is away"`, `3: "goes on"`, `4: "told"`}; !slices.Equal(found, want) {
		t.Errorf("found %q, want %q", found, want)
	}
}

type phrase struct {
	then    *regexp.Regexp
	instead string
}

// phrases are the retired words by their first, so that all others are passed over quickly.
var phrases = sync.OnceValue(func() map[string][]phrase {
	out := map[string][]phrase{}
	for _, word := range retiredWords {
		for first := range strings.SplitSeq(word.first, "|") {
			out[first] = append(out[first], phrase{regexp.MustCompile(`^` + word.then), word.instead})
		}
	}
	return out
})

// findRetired returns the number of a line, the retired words that begin there, and what to say.
func findRetired(text string) []string {
	var out []string
	words, starts := separateWords(text)
	for begin := 0; begin < len(words); begin++ {
		end := begin
		for end < len(words) && isWordByte(words[end]) {
			end++
		}
		for _, p := range phrases()[words[begin:end]] {
			if then := p.then.FindStringIndex(words[end:]); then != nil {
				line, _ := slices.BinarySearch(starts, begin+1)
				out = append(out, fmt.Sprintf("%d: %q is retired, say: %s", line, words[begin:end+then[1]], p.instead))
			}
		}
		begin = end
	}
	return out
}

func isWordByte(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c >= 0x80 }

func TestSeparateWords(t *testing.T) {
	for text, want := range map[string]string{
		"func TestNodeIsAway(t":      "func test node is away(t",
		"survives|goes_on":           "survives|goes on",
		"\t// it is\n\t// away\n":    "it is away ",
		"# - cut\n#   off; --flag=x": "cut off; --flag=x",
	} {
		if got, _ := separateWords(text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
	if _, starts := separateWords("one\n\n// two\nthree"); !slices.Equal(starts, []int{0, 4, 4, 8}) {
		t.Errorf("lines start at %d", starts)
	}
}

// separateWords returns a text in lower case with one space between its words, also between
// those of a name and those of two lines of a comment, and where each line starts in it.
func separateWords(text string) (words string, starts []int) {
	var out strings.Builder
	last, atStart := byte(' '), true
	space := func() {
		if last != ' ' {
			out.WriteByte(' ')
			last = ' '
		}
	}
	starts = append(starts, 0)
	for i := range len(text) {
		c := text[i]
		switch {
		case c == '\n':
			space()
			starts, atStart = append(starts, out.Len()), true
			continue
		case c == ' ' || c == '\t' || c == '_':
			space()
			continue
		case atStart && strings.IndexByte("/#*>-", c) >= 0:
			continue // of a comment, a quotation or a list
		case 'A' <= c && c <= 'Z':
			if i > 0 && ('a' <= text[i-1] && text[i-1] <= 'z' || '0' <= text[i-1] && text[i-1] <= '9') {
				space()
			}
			c += 'a' - 'A'
		}
		atStart, last = false, c
		out.WriteByte(c)
	}
	return out.String(), starts
}

// trackedTexts are the text files of the repository that are written by hand, by their names.
func trackedTexts(t *testing.T) map[string]string {
	t.Helper()
	noteSources(t)
	command := exec.Command("git", "ls-files", "-z")
	command.Dir = top
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("list tracked files: %v\n%s", err, stderr.String())
	}
	generated := regexp.MustCompile(`(?m)^(//|#) Code generated .* DO NOT EDIT\.$`)
	texts := map[string]string{}
	for file := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		if name := filepath.Base(file); name == "LICENSE" || name == "go.sum" || slices.Contains(wordLists, file) {
			continue
		}
		path := filepath.Join(top, file)
		if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
			continue // deleted since, or a link to another
		}
		text := readText(t, path)
		if !strings.Contains(text, "\x00") && !generated.MatchString(text[:min(len(text), 1000)]) {
			texts[file] = text
		}
	}
	return texts
}

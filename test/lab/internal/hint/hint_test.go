package hint

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
)

func TestHintsFollowTheText(t *testing.T) {
	missing := AddTo(fmt.Errorf("there is no lab %q: %w", "a", fs.ErrNotExist), "lab up --name %s", "a")
	joined := errors.Join(errors.New("node \"b\" does not start"), AddTo(errors.New("node \"c\" is off"), "lab start c"))
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"no hint":      {fs.ErrExist, "file already exists"},
		"a hint":       {missing, "there is no lab \"a\": file does not exist\nhint: lab up --name a"},
		"wrapped":      {fmt.Errorf("exec: %w", missing), "exec: there is no lab \"a\": file does not exist\nhint: lab up --name a"},
		"one in a set": {AddTo(fmt.Errorf("boot: %w", joined), "lab down"), "boot: node \"b\" does not start\nnode \"c\" is off\nhint: lab start c\nhint: lab down"},
	} {
		if got := TextOf(tt.err); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	if !errors.Is(missing, fs.ErrNotExist) || missing.Error() != "there is no lab \"a\": file does not exist" {
		t.Errorf("the error %q is not the one that the hint was added to", missing)
	}
}

package plugin

import (
	"errors"
	"fmt"
	"strings"
)

// checkPolicy refuses a policy file that the watcher would refuse.
func checkPolicy(name, text string) error {
	if name != "" && strings.TrimSpace(text) == "" {
		return fmt.Errorf("policy file %q: %w", name, errors.New("it is empty"))
	}
	return nil
}

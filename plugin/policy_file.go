package plugin

import (
	"fmt"

	"github.com/rotate-certs/rotate-certs/pkg/policyfile"
)

// checkPolicy refuses a policy file that the watcher would refuse.
func checkPolicy(name, text string) error {
	if name == "" {
		return nil
	}
	file, err := policyfile.Parse([]byte(text))
	if err == nil {
		_, err = file.Policy()
	}
	if err != nil {
		return fmt.Errorf("policy file %q: %w", name, err)
	}
	return nil
}

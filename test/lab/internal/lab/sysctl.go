package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// kernelLimits are settings of the whole host that a lab needs at least. The
// nodes share the host's root user, and so what one user may have of these:
// the default is used up by six kubelets.
var kernelLimits = map[string]int{
	"/proc/sys/fs/inotify/max_user_instances": 8192,
	"/proc/sys/fs/inotify/max_user_watches":   524288,
}

// savedLimits is the file with the values from before the first lab.
var savedLimits = filepath.Join(stateRoot, ".kernel-limits.json")

// raiseLimits raises the kernel's limits where they are too low, after noting
// what they were.
func raiseLimits() error {
	before := map[string]int{}
	for file, least := range kernelLimits {
		data, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("raise kernel limits: %w", err)
		}
		value, err := strconv.Atoi(strings.TrimSpace(string(data)))
		if err != nil {
			return fmt.Errorf("raise kernel limits: %q: %w", file, err)
		}
		if value < least {
			before[file] = value
		}
	}
	if len(before) == 0 {
		return nil
	}
	if _, err := os.Stat(savedLimits); errors.Is(err, fs.ErrNotExist) {
		data, err := json.Marshal(before)
		if err != nil {
			return err
		}
		if err := os.WriteFile(savedLimits, data, 0o600); err != nil {
			return fmt.Errorf("raise kernel limits: %w", err)
		}
	}
	for file := range before {
		if err := os.WriteFile(file, []byte(strconv.Itoa(kernelLimits[file])), 0o644); err != nil {
			return fmt.Errorf("raise kernel limits: %w", err)
		}
	}
	return nil
}

// restoreLimits takes the kernel's limits back once no lab is left.
func restoreLimits() error {
	if names, err := List(); err != nil || len(names) > 0 {
		return err
	}
	data, err := os.ReadFile(savedLimits)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("restore kernel limits: %w", err)
	}
	before := map[string]int{}
	if err := json.Unmarshal(data, &before); err != nil {
		return fmt.Errorf("restore kernel limits: %w", err)
	}
	for file, value := range before {
		if err := os.WriteFile(file, []byte(strconv.Itoa(value)), 0o644); err != nil {
			return fmt.Errorf("restore kernel limits: %w", err)
		}
	}
	return os.Remove(savedLimits)
}

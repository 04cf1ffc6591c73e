//go:build linux

package crash

import (
	"bytes"
	"encoding/json"
	"os"
)

// call is a system call that changed something, as killat lists it.
type call struct {
	Name   string
	Path   string
	To     string
	Data   []byte
	Number [3]int64
}

func readCalls(log string) (calls []call, err error) {
	data, err := os.ReadFile(log)
	if err != nil {
		return nil, err
	}
	for line := range bytes.Lines(data) {
		var c call
		if err := json.Unmarshal(line, &c); err != nil {
			return nil, err
		}
		calls = append(calls, c)
	}
	return calls, nil
}

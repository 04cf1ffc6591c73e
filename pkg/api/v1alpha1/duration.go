package v1alpha1

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// Duration is a time that is read as the plugin's flags are, "90d" and "1d12h" besides Go's
// own durations, and written as Go writes it.
//
// +kubebuilder:object:generate=true
// +kubebuilder:validation:Type=string
type Duration struct {
	time.Duration `json:"-"`
}

// UnmarshalJSON reads a duration; an error quotes the text.
func (d *Duration) UnmarshalJSON(raw []byte) error {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return fmt.Errorf("duration %s: want a text such as \"90d\"", raw)
	}
	var err error
	if d.Duration, err = time.ParseDuration(text); err != nil {
		d.Duration, err = certs.ParseDuration(text)
	}
	return err
}

// MarshalJSON writes a duration.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.Duration.String()) }

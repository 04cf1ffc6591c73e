package plugin

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

func TestRemainderHasOneUnitThatFits(t *testing.T) {
	for want, in := range map[string]time.Duration{
		"9y": 3600 * day, "364d": 365*day - time.Hour, "7d": 7*day + 23*time.Hour, "31h": 31 * time.Hour,
		"90m": 90 * time.Minute, "59s": 59 * time.Second, "-3d": -3*day - time.Hour, "0s": 0,
	} {
		assert.Equal(t, want, printers.RemainingTime(in))
	}
}

func TestCommonNameOfADistinguishedName(t *testing.T) {
	for in, want := range map[string]string{
		"CN=kubernetes": "kubernetes", "CN=system:node:w1,O=system:nodes": "system:node:w1",
		"O=Acme+CN=root\\, the first": "root, the first", "OU=CN=x": "OU=CN=x", "SERIALNUMBER=1,CN=b,C=DE": "b", "": "",
	} {
		assert.Equal(t, want, certs.CommonName(in), in)
	}
}

func TestControlCharactersOfNodesAreReplaced(t *testing.T) {
	assert.Equal(t, " [2Jgone  fine ", printers.CleanText("\x1b[2Jgone\r\nfine\a"))
	assert.Equal(t, "one\ntwo ", printers.CleanLines("one\ntwo\x1b"))
}

// TestInterruptAnswersAQuestion since the answer may never come.
func TestInterruptAnswersAQuestion(t *testing.T) {
	typing, operator := io.Pipe()
	defer func() { assert.NoError(t, operator.Close()) }()
	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	a := &app{IOStreams: genericiooptions.IOStreams{In: typing, ErrOut: io.Discard}}
	assert.False(t, a.askConfirmation(ctx, "Continue?"))
}

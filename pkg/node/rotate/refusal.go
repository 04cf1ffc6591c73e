package rotate

import (
	"errors"
	"fmt"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/issue"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// failedAnswer is the answer to an order that was not carried out: Refused or Failed, with the
// hint of the error.
func failedAnswer(err error) nodeapi.Record {
	rec := nodeapi.Record{Kind: nodeapi.Failed, Message: err.Error()}
	var refused *refusal
	if errors.As(err, &refused) {
		rec.Kind = nodeapi.Refused
	}
	rec.Hint = strings.Join(hint.AllOf(err), "; ")
	return rec
}

// unsignedError means that a successor could not be signed. Nothing of the step is renewed
// then.
type unsignedError struct {
	certificate inventory.Certificate
	services    []certs.Service // of the step
	cause       error
}

func (e *unsignedError) Error() string {
	return fmt.Sprintf("%s %q: %v", e.certificate.Name, e.certificate.Store.Cert, e.cause)
}

func (e *unsignedError) Unwrap() error { return e.cause }

// Hint returns the next step: that of a lossy signer, or the command that renews the other
// services.
func (e *unsignedError) Hint() string {
	var loss *issue.LossError
	if errors.As(e.cause, &loss) {
		return loss.Hint()
	}
	next := "fix the cause and run the same command again"
	var others []string
	for _, s := range e.services {
		if s != e.certificate.Service {
			others = append(others, string(s))
		}
	}
	if len(others) > 0 {
		next += "; to renew the others without " + string(e.certificate.Service) + ": --service " + strings.Join(others, ",")
	}
	return next
}

// refusal is an order that must not be carried out.
type refusal struct{ what, hint string }

func (r *refusal) Error() string { return r.what }

// Hint returns the next step.
func (r *refusal) Hint() string { return r.hint }

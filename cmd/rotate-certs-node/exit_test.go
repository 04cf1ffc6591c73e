package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/rotate-certs/rotate-certs/pkg/exitcode"
	"github.com/rotate-certs/rotate-certs/pkg/node/rotate"
	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

func TestExitCodes(t *testing.T) {
	for name, tt := range map[string]struct {
		err         error
		interrupted bool
		command     string
		want        int
	}{
		"check: needs attention":         {errAttention, false, checkName, exitcode.Attention},
		"check: wrong usage":             {errors.New("unknown flag"), false, checkName, exitcode.NotJudged},
		"check: interrupted":             {context.Canceled, true, checkName, exitcode.Interrupted},
		"rollback: unknown rotation":     {&plan.RollbackError{ID: "7f3c2a"}, false, "rollback", exitcode.Failed},
		"rollback: rolled back":          {fmt.Errorf("%w: etcd is not healthy", rotate.ErrRolledBack), false, "rollback", exitcode.Stopped},
		"wrong usage":                    {errors.New("unknown flag"), false, "", exitcode.Failed},
		"failed before a change":         {fmt.Errorf("%w: no disk space", rotate.ErrAsBefore), false, "", exitcode.Failed},
		"rolled back":                    {fmt.Errorf("%w: etcd is not healthy", rotate.ErrRolledBack), false, "", exitcode.Stopped},
		"rolled back, interrupted":       {fmt.Errorf("%w: etcd is not healthy", rotate.ErrRolledBack), true, "", exitcode.Stopped},
		"locked":                         {fmt.Errorf("open: %w", &statedir.LockedError{}), false, "", exitcode.Held},
		"left out":                       {rotate.ErrLeftOut, false, "", exitcode.LeftOut},
		"state unknown":                  {fmt.Errorf("%w: etcd", rotate.ErrManualInterventionRequired), false, "", exitcode.ManualInterventionRequired},
		"not verified":                   {fmt.Errorf("%w: etcd", rotate.ErrNotVerified), false, "", exitcode.ManualInterventionRequired},
		"state unknown, and interrupted": {fmt.Errorf("%w: etcd", rotate.ErrManualInterventionRequired), true, "", exitcode.ManualInterventionRequired},
		"interrupted before a change":    {fmt.Errorf("%w: %w", rotate.ErrAsBefore, context.Canceled), true, "", exitcode.Interrupted},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, tt.want, exitCode(cmp.Or(tt.command, "rotate"), tt.err, tt.interrupted))
		})
	}
}

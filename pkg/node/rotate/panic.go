package rotate

import (
	"fmt"
	"runtime"
)

// recoverAs turns a panic into an error, so that an unfinished commit is rolled back. It names
// the place and not the arguments, which could be keys.
func recoverAs(err *error) {
	r := recover()
	if r == nil {
		return
	}
	where := ""
	callers := make([]uintptr, 16)
	frames := runtime.CallersFrames(callers[:runtime.Callers(3, callers)])
	for {
		f, more := frames.Next()
		if f.Function != "" && f.Function != "runtime.gopanic" && f.Function != "runtime.panicmem" && f.Function != "runtime.sigpanic" {
			where = fmt.Sprintf(" in %s, line %d", f.Function, f.Line)
			break
		}
		if !more {
			break
		}
	}
	if e, isError := r.(runtime.Error); isError {
		*err = fmt.Errorf("program error%s: %w", where, e)
		return
	}
	*err = fmt.Errorf("program error%s", where)
}

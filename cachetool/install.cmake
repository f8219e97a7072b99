# install.cmake: what `cmake --install` puts where: library, header, command, CMake package, pkg-config file, manual pages, completions.
include(CMakePackageConfigHelpers)

install(TARGETS hone EXPORT hone-targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES include/hone.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/hone)
install(EXPORT hone-targets NAMESPACE hone:: DESTINATION ${package_dir})
configure_package_config_file(cachetool/hone-config.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/hone-config.cmake INSTALL_DESTINATION ${package_dir})
# Before 1.0 a new minor version may change the interface.
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/hone-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/hone-config.cmake ${CMAKE_CURRENT_BINARY_DIR}/hone-config-version.cmake DESTINATION ${package_dir})

# The prefix is found from the .pc file's own place, so that an installed tree can be moved.
file(RELATIVE_PATH HONE_PC_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" HONE_PC_PREFIX "${HONE_PC_PREFIX}")
configure_file(cachetool/hone.pc.in ${CMAKE_CURRENT_BINARY_DIR}/hone.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/hone.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

if(TARGET hone_tool)
  install(TARGETS hone_tool RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  # Manual pages and completions are printed by the command itself, from its table.  When cross-compiling it cannot run here.
  if(NOT CMAKE_CROSSCOMPILING)
    set(pages ${CMAKE_CURRENT_BINARY_DIR}/man/hone.1)
    set(commands COMMAND $<TARGET_FILE:hone_tool> help --man > man/hone.1)
    foreach(name tune lookup explain prompt ls show stats diff verify export import merge keygen sign dump load prune compact gc simulate device
        completion help version)
      list(APPEND pages ${CMAKE_CURRENT_BINARY_DIR}/man/hone-${name}.1)
      list(APPEND commands COMMAND $<TARGET_FILE:hone_tool> help --man ${name} > man/hone-${name}.1)
    endforeach()
    foreach(shell bash zsh fish)
      list(APPEND scripts ${CMAKE_CURRENT_BINARY_DIR}/completion/hone.${shell})
      list(APPEND commands COMMAND $<TARGET_FILE:hone_tool> completion ${shell} > completion/hone.${shell})
    endforeach()
    file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/man ${CMAKE_CURRENT_BINARY_DIR}/completion)
    add_custom_command(OUTPUT ${pages} ${scripts} ${commands} DEPENDS hone_tool WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}
      COMMENT "Printing manual pages and completions" VERBATIM)
    add_custom_target(hone_pages ALL DEPENDS ${pages} ${scripts})
    install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
    install(FILES ${CMAKE_CURRENT_BINARY_DIR}/completion/hone.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME hone)
    install(FILES ${CMAKE_CURRENT_BINARY_DIR}/completion/hone.zsh DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions RENAME _hone)
    install(FILES ${CMAKE_CURRENT_BINARY_DIR}/completion/hone.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
  endif()
endif()
